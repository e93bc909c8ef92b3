//! A path of the node itself, with the check that its type asks for.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;

use k8s_openapi::api::core::v1::HostPathVolumeSource;

use super::{VolumeError, io_error};

pub fn check(source: &HostPathVolumeSource) -> Result<(), VolumeError> {
    let path = Path::new(&source.path);
    let kind = source.type_.as_deref().unwrap_or_default();
    match kind {
        // The runtime makes a missing folder.
        "" => return Ok(()),
        "DirectoryOrCreate" if !path.exists() => {
            fs::create_dir_all(path).map_err(io_error("making the folder"))?;
            let mode = fs::Permissions::from_mode(0o755);
            return fs::set_permissions(path, mode).map_err(io_error("setting its mode"));
        }
        "FileOrCreate" if !path.exists() => {
            fs::write(path, "").map_err(io_error("making the file"))?;
            let mode = fs::Permissions::from_mode(0o644);
            return fs::set_permissions(path, mode).map_err(io_error("setting its mode"));
        }
        _ => {}
    }
    let found = fs::metadata(path).map(|m| m.file_type()).ok();
    let fits = found.is_some_and(|found| match kind {
        "Directory" | "DirectoryOrCreate" => found.is_dir(),
        "File" | "FileOrCreate" => found.is_file(),
        "Socket" => found.is_socket(),
        "CharDevice" => found.is_char_device(),
        "BlockDevice" => found.is_block_device(),
        _ => false,
    });
    if fits {
        Ok(())
    } else {
        Err(VolumeError::HostPath(format!("hostPath type check failed: {} {}", source.path, complaint(kind))))
    }
}

fn complaint(kind: &str) -> &'static str {
    match kind {
        "Directory" | "DirectoryOrCreate" => "is not a directory",
        "File" | "FileOrCreate" => "is not a file",
        "Socket" => "is not a socket file",
        "CharDevice" => "is not a character device",
        "BlockDevice" => "is not a block device",
        _ => "has an unknown type",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_checked() {
        let cases = [
            ("/dev/null", "CharDevice", true),
            ("/dev/null", "File", false),
            ("/proc/self", "Directory", true),
            ("/nonexistent", "Directory", false),
            ("/nonexistent", "", true),
            ("/proc/version", "File", true),
        ];
        for (path, kind, fine) in cases {
            let source = HostPathVolumeSource { path: path.into(), type_: Some(kind.into()) };
            assert_eq!(check(&source).is_ok(), fine, "{path} {kind}");
        }
    }
}
