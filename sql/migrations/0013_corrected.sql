-- Corrected photos stay as they are, whatever version of a worker analyses them.
-- depends: 0007_corrections

-- An analysis writes what it found to the photo, then replaces the photo's detections. Workers since
-- 0007 look at corrected_at; an older one, which goes on while nodes are upgraded, does not know
-- it. A correction says when it was made, with the verdict: what changes a corrected photo's verdict
-- and says nothing of the kind is an analysis, and so are the changes of detections that follow.
CREATE FUNCTION keep_verdict() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM set_config('hyperion.corrected', OLD.id::text, true);
    NEW.has_trash := OLD.has_trash;
    NEW.confidence := OLD.confidence;
    RETURN NEW;
END
$$;

CREATE FUNCTION keep_detection() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    RETURN NULL;
END
$$;

CREATE TRIGGER media_corrected BEFORE UPDATE OF has_trash, confidence ON media
    FOR EACH ROW
    WHEN (OLD.corrected_at IS NOT NULL AND NEW.corrected_at IS NOT DISTINCT FROM OLD.corrected_at)
    EXECUTE FUNCTION keep_verdict();
CREATE TRIGGER detection_kept_out BEFORE INSERT ON detection
    FOR EACH ROW
    WHEN (current_setting('hyperion.corrected', true) = NEW.media_id::text)
    EXECUTE FUNCTION keep_detection();
CREATE TRIGGER detection_kept BEFORE DELETE ON detection
    FOR EACH ROW
    WHEN (current_setting('hyperion.corrected', true) = OLD.media_id::text)
    EXECUTE FUNCTION keep_detection();
