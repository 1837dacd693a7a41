"""Trading signals: rules over bars and indicators, and the bars on which each fires."""
