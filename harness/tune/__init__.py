"""`harness tune`: the least obfuscation that reaches a target."""
