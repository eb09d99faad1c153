import { xfilesImages } from "@xfiles/sdk/next/config";
import type { NextConfig } from "next";

const config: NextConfig = { images: xfilesImages() };
export default config;
