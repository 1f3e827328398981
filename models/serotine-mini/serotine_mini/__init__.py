"""serotine-mini's files: `model/` beside this one is an encoder folder, `serotine.Encoder("serotine-mini")`."""
