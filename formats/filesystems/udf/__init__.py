"""UDF (ECMA-167, OSTA): DVDs, Blu-ray discs, and disks that several systems write to."""
