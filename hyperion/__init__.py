"""The backend of a litter-mapping platform: supervised actors on a Postgres queue."""
