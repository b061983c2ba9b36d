"""The report for people: one HTML file that needs nothing else and asks no network."""
