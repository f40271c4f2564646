"""`harness obfuscate` writes a client's release to disk; `harness external` scores outside submissions."""
