"""The shapes of input and output, one module for each noun."""
