"""The local stack: a local AWS, the deployment to it, and what of the template arrived there."""
