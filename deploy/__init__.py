"""What is deployed into the systems that winback works beside."""
