"""The test clusters: real control planes and nodes without Docker, and stand-ins for what EKS adds to them."""
