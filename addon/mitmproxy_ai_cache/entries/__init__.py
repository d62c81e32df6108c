"""What is stored: entries, their packed form, and how they are searched."""
