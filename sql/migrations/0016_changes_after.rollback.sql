DROP FUNCTION changes_after(text[], bigint[], integer);
