/** The path of a socket as it stands in a description: '@' is the NUL of an abstract name (unix(7)), as in {@link UnixAddress}. */
export function toSocketPath(text: string): string {
  return text.replace(/^@/, '\0');
}
