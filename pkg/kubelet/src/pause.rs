//! The image of a sandbox's first process: a static program of some hundred bytes that holds the pod's namespaces,
//! reaps orphans when they are shared, and ends on SIGTERM. It is embedded as machine code, so that no image has to be
//! fetched and no cross toolchain is needed.

use serde_json::json;
use sha2::{Digest as _, Sha256};

/// The pinned name. A change of the program needs a new tag.
pub const IMAGE: &str = "docker.io/coracle/pause:1";

/// Blocks all signals, waits for one, ends on SIGTERM and SIGINT, and reaps all that can be reaped.
///
/// ```asm
///   sub rsp,16;  mov qword [rsp],-1                     ; every signal
///   mov eax,14;  xor edi,edi;  mov rsi,rsp;  xor edx,edx;  mov r10d,8;  syscall   ; rt_sigprocmask(SIG_BLOCK)
/// wait:
///   mov eax,128; mov rdi,rsp;  xor esi,esi;  xor edx,edx;  mov r10d,8;  syscall   ; rt_sigtimedwait
///   cmp eax,15;  je leave;     cmp eax,2;    je leave
/// reap:
///   mov eax,61;  mov rdi,-1;   xor esi,esi;  mov edx,1;    xor r10d,r10d; syscall ; wait4(-1, WNOHANG)
///   test eax,eax; jg reap;     jmp wait
/// leave:
///   mov eax,60;  xor edi,edi;  syscall                  ; exit(0)
/// ```
const X86_64: [u8; 101] = [
    0x48, 0x83, 0xec, 0x10, 0x48, 0xc7, 0x04, 0x24, 0xff, 0xff, 0xff, 0xff, 0xb8, 0x0e, 0x00, 0x00, 0x00, 0x31, 0xff,
    0x48, 0x89, 0xe6, 0x31, 0xd2, 0x41, 0xba, 0x08, 0x00, 0x00, 0x00, 0x0f, 0x05, 0xb8, 0x80, 0x00, 0x00, 0x00, 0x48,
    0x89, 0xe7, 0x31, 0xf6, 0x31, 0xd2, 0x41, 0xba, 0x08, 0x00, 0x00, 0x00, 0x0f, 0x05, 0x83, 0xf8, 0x0f, 0x74, 0x23,
    0x83, 0xf8, 0x02, 0x74, 0x1e, 0xb8, 0x3d, 0x00, 0x00, 0x00, 0x48, 0xc7, 0xc7, 0xff, 0xff, 0xff, 0xff, 0x31, 0xf6,
    0xba, 0x01, 0x00, 0x00, 0x00, 0x45, 0x31, 0xd2, 0x0f, 0x05, 0x85, 0xc0, 0x7f, 0xe4, 0xeb, 0xc4, 0xb8, 0x3c, 0x00,
    0x00, 0x00, 0x31, 0xff, 0x0f, 0x05,
];

/// The same for aarch64: system calls 135, 137, 260 and 93.
const AARCH64: [u32; 31] = [
    0xd100_43ff,
    0x9280_0000,
    0xf900_03e0,
    0xd280_10e8,
    0xd280_0000,
    0x9100_03e1,
    0xd280_0002,
    0xd280_0103,
    0xd400_0001,
    0xd280_1128,
    0x9100_03e0,
    0xd280_0001,
    0xd280_0002,
    0xd280_0103,
    0xd400_0001,
    0x7100_3c1f,
    0x5400_0180,
    0x7100_081f,
    0x5400_0140,
    0xd280_2088,
    0x9280_0000,
    0xd280_0001,
    0xd280_0022,
    0xd280_0003,
    0xd400_0001,
    0x7100_001f,
    0x54ff_ff2c,
    0x17ff_ffee,
    0xd280_0ba8,
    0xd280_0000,
    0xd400_0001,
];

const LOAD_ADDRESS: u64 = 0x40_0000;
const HEADERS: u64 = 64 + 2 * 56;

/// A static ELF program of this machine's kind.
pub fn program() -> Vec<u8> {
    match std::env::consts::ARCH {
        "aarch64" => elf(183, &AARCH64.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>()),
        _ => elf(62, &X86_64),
    }
}

/// One readable and executable segment with headers and code, and a stack that is not executable.
fn elf(machine: u16, code: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let size = HEADERS + code.len() as u64;
    let half = |out: &mut Vec<u8>, v: u16| out.extend(v.to_le_bytes());
    let word = |out: &mut Vec<u8>, v: u32| out.extend(v.to_le_bytes());
    let long = |out: &mut Vec<u8>, v: u64| out.extend(v.to_le_bytes());
    half(&mut out, 2); // an executable
    half(&mut out, machine);
    word(&mut out, 1);
    long(&mut out, LOAD_ADDRESS + HEADERS); // entry
    long(&mut out, 64); // program headers
    long(&mut out, 0); // no sections
    word(&mut out, 0);
    for value in [64, 56, 2, 64, 0, 0] {
        half(&mut out, value);
    }
    // PT_LOAD, read and execute.
    word(&mut out, 1);
    word(&mut out, 5);
    for value in [0, LOAD_ADDRESS, LOAD_ADDRESS, size, size, 0x1_0000] {
        long(&mut out, value);
    }
    // PT_GNU_STACK, read and write.
    word(&mut out, 0x6474_e551);
    word(&mut out, 6);
    for value in [0, 0, 0, 0, 0, 16] {
        long(&mut out, value);
    }
    out.extend_from_slice(code);
    out
}

/// A blob of the image.
pub struct Blob {
    pub media_type: &'static str,
    pub digest: String,
    pub data: Vec<u8>,
}

impl Blob {
    fn new(media_type: &'static str, data: Vec<u8>) -> Self {
        Self { media_type, digest: digest(&data), data }
    }
}

pub fn digest(data: &[u8]) -> String {
    let hash = Sha256::digest(data);
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// The whole image: layer, config, manifest. The same bytes on every run.
pub struct Image {
    pub layer: Blob,
    pub config: Blob,
    pub manifest: Blob,
}

pub fn image() -> std::io::Result<Image> {
    let layer = Blob::new("application/vnd.oci.image.layer.v1.tar", layer()?);
    let config = json!({
        "architecture": component_base::version::architecture(),
        "os": "linux",
        "config": {"Entrypoint": ["/pause"]},
        "rootfs": {"type": "layers", "diff_ids": [layer.digest]},
    });
    let config = Blob::new("application/vnd.oci.image.config.v1+json", config.to_string().into_bytes());
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": config.media_type, "digest": config.digest, "size": config.data.len()},
        "layers": [{"mediaType": layer.media_type, "digest": layer.digest, "size": layer.data.len()}],
    });
    let manifest = Blob::new("application/vnd.oci.image.manifest.v1+json", manifest.to_string().into_bytes());
    Ok(Image { layer, config, manifest })
}

fn layer() -> std::io::Result<Vec<u8>> {
    let program = program();
    let mut header = tar::Header::new_ustar();
    header.set_size(program.len() as u64);
    header.set_mode(0o755);
    header.set_mtime(0);
    header.set_entry_type(tar::EntryType::Regular);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, "pause", program.as_slice())?;
    archive.into_inner()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn it_waits_and_ends_on_sigterm() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pause");
        std::fs::write(&path, program()).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("executable");
        let mut child = Command::new(&path).spawn().expect("started");
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::CHILD).expect("signalled");
        assert!(child.try_wait().expect("asked").is_none(), "it does not end by itself");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("signalled");
        let deadline = Instant::now() + Duration::from_secs(5);
        let status = loop {
            if let Some(status) = child.try_wait().expect("asked") {
                break status;
            }
            assert!(Instant::now() < deadline, "it did not end");
            std::thread::yield_now();
        };
        // Either our exit(0), or the signal itself where it came before they were blocked.
        assert!(status.success() || !status.success() && status.code().is_none(), "{status:?}");
    }

    #[test]
    fn the_image_never_changes_under_one_tag() {
        let image = image().expect("an image");
        if cfg!(target_arch = "x86_64") {
            assert_eq!(image.layer.digest, digest(&layer().expect("a layer")));
        }
        assert!(image.manifest.data.len() < 1000);
    }
}
