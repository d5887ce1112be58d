DROP TABLE task_dead;
DROP TABLE task_lease;
DROP TABLE task_scheduled;
DROP TABLE task_ready;
DROP TABLE task;
DROP SEQUENCE task_epoch;
DROP SEQUENCE task_seq;
