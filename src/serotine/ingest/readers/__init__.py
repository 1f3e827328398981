"""One module per file format: its bytes read as documents or as one text with its structure."""
