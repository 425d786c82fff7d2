-- What `make run` serves: a whole mail server on loopback, mail into run/mail. Change a hook, send the daemon a SIGHUP
-- (or run `barid reload -c examples/run.lua`), and the next session runs the new one.

hostname = "mail.example.com"
domains { "example.com", "example.org" }

listen { "127.0.0.1:2525" }
listen { "127.0.0.1:2587", protocol = "submission" }
listen { "127.0.0.1:2424", protocol = "lmtp" }
listen { "unix:../run/lmtp", protocol = "lmtp" }

tls     { certificate = "../run/tls/cert.pem", key = "../run/tls/key.pem" }
auth    { users = "../run/users" }
spool   { dir = "../run/spool" }
maildir { root = "../run/mail" }
archive { root = "../run/archive" }
history { dir = "../run/history" }
-- Mail to others goes to a server on this machine, such as `barid sink`: a first try should not reach the world. Without this line it goes
-- to the mail exchangers of each domain.
relayhost "[127.0.0.1]:2526"
control { listen = "127.0.0.1:8025" }

-- Whoever is not listed here has no mailbox.
local mailboxes = { demo = true, alice = true, bob = true, postmaster = true }

function on.rcpt(session, mail, rcpt)
  if rcpt.is_local and not mailboxes[rcpt.user] then
    return reject(550, "5.1.1", "no such user here: try alice@example.com")
  end
end

function on.headers(session, mail)
  if (mail:header("Subject") or ""):lower() == "make money fast" then
    return reject(550, "5.7.1", "not here")
  end
end

function on.message(session, mail)
  mail:add_header("X-Seen-By", config.hostname)
  for _, rcpt in ipairs(mail.recipients) do
    if rcpt.is_local then rcpt:store("%{domain}/%{user}") end
  end
end
