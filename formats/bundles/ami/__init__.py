"""Amazon machine images and EBS snapshots, read in place through the EBS direct APIs."""
