// A helper of the kind that applications write from docs alone, without the SDK.
const { XFILES_URL, XFILES_API_KEY } = process.env;

export async function xfiles(method: string, path: string, body?: unknown) {
  const answer = await fetch(`${XFILES_URL}/api/v1${path}`, {
    method,
    cache: "no-store",
    headers: { Authorization: `Bearer ${XFILES_API_KEY}`, "Content-Type": "application/json" },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const json = await answer.json();
  if (!answer.ok) throw new Error(json.error);
  return json;
}
