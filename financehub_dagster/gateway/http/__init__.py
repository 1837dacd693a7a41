"""Sessions for the vendors' client libraries: connections, deadlines and responses over requests and curl_cffi."""
