"""The members of `auto`, and how it chooses among them."""
