"""Who was mixed with whom over several epochs, and the originals solved from it."""
