import { uploads } from "@/lib/uploads";

export const { GET, POST } = uploads;
