DROP TABLE machine_sample;
DROP TABLE message;
DROP TABLE actor_day;
DROP TABLE actor;
DROP TABLE node;
DROP SEQUENCE boot_block;
