DROP FUNCTION live_wake(text[]);
DROP FUNCTION write_history(uuid[], text[], text, text, text, text);
