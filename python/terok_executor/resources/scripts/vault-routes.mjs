// Pi extension: sends the requests of those providers to the vault whose key in this container is a phantom.
// A provider with a key of its own, or without any, keeps its address: the vault has no route for it.

const PHANTOM = /^terok-p-[0-9a-f]{32}$/i

// Pi's providers, the variables their key may come in, and the path they put behind the host.
const PROVIDERS = [
  { name: "anthropic", keys: ["ANTHROPIC_API_KEY", "ANTHROPIC_OAUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"], path: "" },
  { name: "openai", keys: ["OPENAI_API_KEY"], path: "/v1" },
  { name: "mistral", keys: ["MISTRAL_API_KEY"], path: "" },
  { name: "google", keys: ["GEMINI_API_KEY", "GOOGLE_API_KEY"], path: "/v1beta" },
  { name: "groq", keys: ["GROQ_API_KEY"], path: "/openai/v1" },
  { name: "cerebras", keys: ["CEREBRAS_API_KEY"], path: "/v1" },
  { name: "xai", keys: ["XAI_API_KEY"], path: "/v1" },
  { name: "openrouter", keys: ["OPENROUTER_API_KEY"], path: "/api/v1", address: "TEROK_OC_OPENROUTER_BASE_URL" },
  { name: "deepseek", keys: ["DEEPSEEK_API_KEY"], path: "" },
]

export function vaultAddress(env) {
  if (env.TEROK_VAULT_LOOPBACK_PORT) return `http://localhost:${env.TEROK_VAULT_LOOPBACK_PORT}`
  if (env.TEROK_TOKEN_BROKER_PORT) return `http://host.containers.internal:${env.TEROK_TOKEN_BROKER_PORT}`
  return undefined
}

export function routes(env) {
  const vault = vaultAddress(env)
  if (!vault) return []
  return PROVIDERS.filter(({ keys }) => keys.some((key) => PHANTOM.test(env[key] ?? ""))).map(
    ({ name, path, address }) => ({ name, baseUrl: (address && env[address]) || vault + path }),
  )
}

export default function (pi) {
  for (const { name, baseUrl } of routes(process.env)) pi.registerProvider(name, { baseUrl })
}
