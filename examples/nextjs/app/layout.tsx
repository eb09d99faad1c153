import type { ReactNode } from "react";

export const metadata = { title: "Products" };

export default function Layout({ children }: { children: ReactNode }) {
  return (
    <html lang="en">
      <body style={{ fontFamily: "system-ui", maxWidth: 960, margin: "2rem auto" }}>{children}</body>
    </html>
  );
}
