import Alpine from "./vendor/alpine-csp.min.js";
import { page } from "./page.js";

Alpine.data("page", page);
Alpine.start();
