"""The Salesforce project: what an administrator deploys into the org, and how its files are made."""
