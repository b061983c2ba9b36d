"""What lives on media: live systems, installers and their package pools, on any tree."""
