"""Do the work: plan the pieces of a cross, do them with some workers, and join their records into cells."""
