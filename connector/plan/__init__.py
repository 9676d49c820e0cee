"""From wanted and current to an ordered list of steps, and from steps to the CRM."""
