"""The least obfuscation that reaches a target."""
