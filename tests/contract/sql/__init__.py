"""What only a real SQLite file and a real PostgreSQL can prove, and what is the SQL store's alone."""
