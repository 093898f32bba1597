"""What was found: documents, their cleaning, near-duplicates, intake, files in and out."""
