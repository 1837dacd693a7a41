"""The engines that fill tables: bars over ranges, current values, and values computed from other tables."""
