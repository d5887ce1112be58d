DROP TABLE media_log;
DROP TABLE feed;
DROP TABLE detection;
DROP TABLE media_thumbnail;
DROP TABLE media_blob;
DROP TABLE media;
