DROP TRIGGER detection_kept ON detection;
DROP TRIGGER detection_kept_out ON detection;
DROP TRIGGER media_corrected ON media;
DROP FUNCTION keep_detection();
DROP FUNCTION keep_verdict();
