//! The desktop's keyring, through the Secret Service on the session bus.
//!
//! The item is the one that Python's `keyring` library reads and writes in the default collection. Every failure is
//! silent, because a session without a desktop is no fault; a service that does not answer is given up after ten
//! seconds. Connection and runtime live for one question only: a supervisor that never asks pays nothing.
//!
//! Refuses to claim success: what was stored is read back and compared.

use std::collections::HashMap;
use std::time::Duration;

use base::secret::Secret;
use zbus::Connection;
use zbus::zvariant::{ObjectPath, OwnedObjectPath, OwnedValue, Value};
use zeroize::Zeroizing;

const SERVICE: &str = "terok-sandbox";
const USER: &str = "credentials-db";
/// What the Python library adds to the attributes of its items; with it, its next write replaces ours.
const APPLICATION: &str = "Python keyring library";

const NAME: &str = "org.freedesktop.secrets";
const ROOT: &str = "/org/freedesktop/secrets";
const OF_SERVICE: &str = "org.freedesktop.Secret.Service";
const OF_COLLECTION: &str = "org.freedesktop.Secret.Collection";
const OF_ITEM: &str = "org.freedesktop.Secret.Item";
const OF_PROMPT: &str = "org.freedesktop.Secret.Prompt";

/// The longest that a question may take, a person's answer included.
pub const LIMIT: Duration = Duration::from_secs(10);
/// How often we look whether a person has answered.
const LOOK_EVERY: Duration = Duration::from_millis(200);
const STACK: usize = 512 * 1024;

/// The stored passphrase; `None` when there is none or the keyring cannot be asked.
///
/// With `may_ask`, a locked keyring asks its owner to unlock it.
pub fn load(may_ask: bool) -> Option<Secret> {
    converse(LIMIT, async move |keyring| keyring.load(may_ask).await)
}

/// Stores the passphrase; true when it can be read back.
pub fn store(passphrase: &Secret) -> bool {
    let ours = passphrase.clone();
    !passphrase.is_empty()
        && converse(LIMIT, async move |keyring| {
            keyring.store(&ours).await?;
            let found = keyring.load(false).await?;
            found.filter(|found| found.matches(ours.expose())).map(|_| ()).map_or(Ok(None), |()| Ok(Some(())))
        })
        .is_some()
}

/// Removes the stored passphrase; true when there was one and it is gone.
pub fn forget() -> bool {
    converse(LIMIT, async |keyring| {
        let found = keyring.items(true).await?;
        for item in &found {
            let (prompt,): (OwnedObjectPath,) = keyring.call(item, OF_ITEM, "Delete", &()).await?;
            keyring.answer(&prompt).await?;
        }
        Ok((!found.is_empty() && keyring.items(false).await?.is_empty()).then_some(()))
    })
    .is_some()
}

/// Runs a conversation with the keyring to its end or its limit, on a thread and a runtime of its own.
fn converse<T: Send + 'static>(
    limit: Duration,
    talk: impl AsyncFnOnce(Keyring) -> zbus::Result<Option<T>> + Send + 'static,
) -> Option<T> {
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        let talked = runtime
            .block_on(async { tokio::time::timeout(limit, async { talk(Keyring::connect().await?).await }).await });
        match talked {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                tracing::debug!("the keyring cannot be asked: {error}");
                None
            }
            Err(_) => {
                tracing::warn!("the keyring did not answer within {} s and is skipped", limit.as_secs());
                None
            }
        }
    });
    thread.ok()?.join().ok().flatten()
}

struct Keyring {
    bus: Connection,
    session: OwnedObjectPath,
}

impl Keyring {
    /// The bus knows us by the user outside of any user namespace.
    async fn connect() -> zbus::Result<Self> {
        let bus = zbus::connection::Builder::session()?.user_id(base::user::host_uid()).build().await?;
        let reply =
            bus.call_method(Some(NAME), ROOT, Some(OF_SERVICE), "OpenSession", &("plain", Value::from(""))).await?;
        let (_, session): (OwnedValue, OwnedObjectPath) = reply.body().deserialize()?;
        Ok(Self { bus, session })
    }

    async fn call<B, R>(&self, object: &ObjectPath<'_>, interface: &str, method: &str, body: &B) -> zbus::Result<R>
    where
        B: serde::Serialize + zbus::zvariant::DynamicType,
        R: serde::de::DeserializeOwned + zbus::zvariant::Type,
    {
        let reply = self.bus.call_method(Some(NAME), object, Some(interface), method, body).await?;
        reply.body().deserialize()
    }

    async fn default_collection(&self) -> zbus::Result<Option<OwnedObjectPath>> {
        let root = ObjectPath::try_from(ROOT)?;
        let (found,): (OwnedObjectPath,) = self.call(&root, OF_SERVICE, "ReadAlias", &("default",)).await?;
        Ok((found.as_str() != "/").then_some(found))
    }

    /// Our items, newest state; with `may_ask` a locked collection is unlocked first.
    async fn items(&self, may_ask: bool) -> zbus::Result<Vec<OwnedObjectPath>> {
        let Some(collection) = self.default_collection().await? else { return Ok(Vec::new()) };
        if !self.unlock(&collection, may_ask).await? {
            return Ok(Vec::new());
        }
        let attributes = HashMap::from([("service", SERVICE), ("username", USER)]);
        let (items,): (Vec<OwnedObjectPath>,) =
            self.call(&collection, OF_COLLECTION, "SearchItems", &(attributes,)).await?;
        Ok(items)
    }

    async fn load(&self, may_ask: bool) -> zbus::Result<Option<Secret>> {
        let Some(item) = self.items(may_ask).await?.into_iter().next() else { return Ok(None) };
        let ((_, _, bytes, _),): ((OwnedObjectPath, Vec<u8>, Vec<u8>, String),) =
            self.call(&item, OF_ITEM, "GetSecret", &(&self.session,)).await?;
        let bytes = Zeroizing::new(bytes);
        Ok(std::str::from_utf8(&bytes).ok().filter(|text| !text.is_empty()).map(Secret::new))
    }

    async fn store(&self, passphrase: &Secret) -> zbus::Result<()> {
        let Some(collection) = self.default_collection().await? else {
            return Err(zbus::Error::Failure("there is no default collection".into()));
        };
        if !self.unlock(&collection, true).await? {
            return Err(zbus::Error::Failure("the keyring stays locked".into()));
        }
        let attributes = HashMap::from([("application", APPLICATION), ("service", SERVICE), ("username", USER)]);
        let properties = HashMap::from([
            ("org.freedesktop.Secret.Item.Label", Value::from(format!("Password for '{USER}' on '{SERVICE}'"))),
            ("org.freedesktop.Secret.Item.Attributes", Value::from(attributes)),
        ]);
        let secret = (&self.session, [0u8; 0].as_slice(), passphrase.expose().as_bytes(), "text/plain; charset=utf8");
        let (_, prompt): (OwnedObjectPath, OwnedObjectPath) =
            self.call(&collection, OF_COLLECTION, "CreateItem", &(properties, secret, true)).await?;
        self.answer(&prompt).await
    }

    /// True when the collection is open; asks its owner when that is needed and allowed.
    async fn unlock(&self, collection: &OwnedObjectPath, may_ask: bool) -> zbus::Result<bool> {
        if !self.is_locked(collection).await? {
            return Ok(true);
        }
        if !may_ask {
            return Ok(false);
        }
        let root = ObjectPath::try_from(ROOT)?;
        let (_, prompt): (Vec<OwnedObjectPath>, OwnedObjectPath) =
            self.call(&root, OF_SERVICE, "Unlock", &(vec![collection],)).await?;
        if prompt.as_str() != "/" {
            let () = self.call(&prompt, OF_PROMPT, "Prompt", &("",)).await?;
        }
        while self.is_locked(collection).await? {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(true)
    }

    async fn is_locked(&self, collection: &OwnedObjectPath) -> zbus::Result<bool> {
        let (value,): (OwnedValue,) =
            self.call(collection, "org.freedesktop.DBus.Properties", "Get", &(OF_COLLECTION, "Locked")).await?;
        Ok(bool::try_from(value)?)
    }

    /// Lets a person answer, where the keyring wants one; whoever called looks at the outcome.
    async fn answer(&self, prompt: &OwnedObjectPath) -> zbus::Result<()> {
        if prompt.as_str() != "/" {
            let () = self.call(prompt, OF_PROMPT, "Prompt", &("",)).await?;
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }
}
