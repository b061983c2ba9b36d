"""What others read: JSON documents with a version, built from results."""
