"""What several attacks use: settings chosen on rehearsals, filters."""
