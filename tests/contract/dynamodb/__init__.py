"""What only DynamoDB's own engine can prove, and what is the DynamoDB store's alone."""
