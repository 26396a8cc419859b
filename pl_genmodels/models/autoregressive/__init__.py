"""Models that draw a picture value by value."""
