"""serotine-multi's files: `model/` beside this one is an encoder folder, `serotine.Encoder("multilingual")`."""
