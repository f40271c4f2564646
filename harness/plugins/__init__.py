"""The built-in plugins: links to the top-level folders of the repository."""
