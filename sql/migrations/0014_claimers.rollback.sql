DROP FUNCTION task_wake(text, integer);
DROP TABLE task_claimer;
