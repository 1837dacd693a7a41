"""The bulk writer: column encoding, binary COPY, comparison with what is stored, revisions, rejected rows."""
