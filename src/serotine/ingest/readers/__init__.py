"""One module per file format, which reads its bytes as documents or as one text; and what several formats share."""
