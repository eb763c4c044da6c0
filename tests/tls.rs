//! `https` addresses: `dyno bench` through a TLS connection to a server whose certificate it trusts, and to one that it does
//! not. Needs the feature `tls`, and openssl for the certificate: `cargo test --features tls --test tls`.

#![cfg(feature = "tls")]
#![expect(clippy::disallowed_methods, reason = "tests start programs as a user does")]

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

fn certificate(dir: &Path) -> Arc<ServerConfig> {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args([
            "-addext",
            "subjectAltName=DNS:localhost",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-keyout",
        ])
        .arg(dir.join("key.pem"))
        .arg("-out")
        .arg(dir.join("cert.pem"))
        .output()
        .expect("openssl is there");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let cert = CertificateDer::from_pem_file(dir.join("cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(dir.join("key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert], key)
        .unwrap();
    Arc::new(config)
}

/// Ends TLS in front of a plain server; the port it listens at.
fn in_front_of(plain: u16, config: Arc<ServerConfig>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let config = config.clone();
            std::thread::spawn(move || pump(client, plain, config));
        }
    });
    port
}

/// Both directions of one connection in one thread, by short waits.
fn pump(mut client: TcpStream, plain: u16, config: Arc<ServerConfig>) {
    let mut tls = ServerConnection::new(config).unwrap();
    let mut server = TcpStream::connect(("127.0.0.1", plain)).unwrap();
    client.set_nonblocking(true).unwrap();
    server.set_nonblocking(true).unwrap();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let mut busy = false;
        match tls.read_tls(&mut client) {
            Ok(0) => return,
            Ok(_) => {
                busy = true;
                if tls.process_new_packets().is_err() {
                    return;
                }
            }
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
        if let Ok(n) = tls.reader().read(&mut buffer)
            && n > 0
        {
            busy = true;
            server.set_nonblocking(false).unwrap();
            server.write_all(&buffer[..n]).unwrap();
            server.set_nonblocking(true).unwrap();
        }
        match server.read(&mut buffer) {
            Ok(0) => tls.send_close_notify(),
            Ok(n) => {
                busy = true;
                tls.writer().write_all(&buffer[..n]).unwrap();
            }
            Err(_) => {}
        }
        while tls.wants_write() {
            match tls.write_tls(&mut client) {
                Ok(_) => busy = true,
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(_) => return,
            }
        }
        if !busy {
            std::thread::sleep(std::time::Duration::from_micros(200));
        }
    }
}

fn bench(url: &str, trusted: &Path) -> Output {
    Command::new(assert_cmd::cargo::cargo_bin!("dyno"))
        .args(["bench", "--base-url", url, "--workload", "random:16/8,n=24,concurrency=4", "--json"])
        .env("SSL_CERT_FILE", trusted)
        .env_remove("SSL_CERT_DIR")
        .output()
        .unwrap()
}

#[test]
fn a_server_behind_tls_is_measured() {
    let dir = tempfile::tempdir().unwrap();
    let config = certificate(dir.path());
    let plain = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut engine = Command::new(assert_cmd::cargo::cargo_bin!("dyno"))
        .args(["emulate", "--model", "Qwen/Qwen3-0.6B", "--hardware", "h100-sxm-80gb", "--port"])
        .arg(plain.to_string())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    for _ in 0..600 {
        if TcpStream::connect(("127.0.0.1", plain)).is_ok() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let url = format!("https://localhost:{}/v1", in_front_of(plain, config));
    let good = bench(&url, &dir.path().join("cert.pem"));
    // Another authority than the one that signed it.
    let other = tempfile::tempdir().unwrap();
    certificate(other.path());
    let bad = bench(&url, &other.path().join("cert.pem"));
    let _ = engine.kill();
    let _ = engine.wait();
    let said = String::from_utf8_lossy(&good.stderr);
    assert!(good.status.success(), "{said}");
    let record: Value = serde_json::from_slice(&good.stdout).unwrap();
    assert_eq!(record["result"]["completed"], 24, "{record}");
    assert_eq!(record["result"]["total_output_tokens"], 24 * 8);
    assert!(record["result"]["mean_ttft_ms"].as_f64().unwrap() > 0.0);
    let said = String::from_utf8_lossy(&bad.stderr);
    assert_eq!(bad.status.code(), Some(1), "{said}");
    assert!(said.to_lowercase().contains("certificate") || said.contains("UnknownIssuer"), "{said}");
}
