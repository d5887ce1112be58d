DROP FUNCTION write_history(uuid[], text[], text, text, text, text);
