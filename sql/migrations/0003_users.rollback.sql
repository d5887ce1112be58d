DROP TABLE login_failure;
DROP TABLE revoked_token;
DROP TABLE app_user;
